"""Validates a JUnit file: junit_schema.py SCHEMA FILE. Exits with 1 and the reasons when it does not hold to the schema."""

import sys

from lxml import etree

schema = etree.XMLSchema(etree.parse(sys.argv[1]))
# Entities are not resolved and huge texts not accepted: what CI systems do.
document = etree.parse(sys.argv[2], etree.XMLParser(resolve_entities=False, huge_tree=False))
if not schema.validate(document):
    sys.exit("\n".join(str(error) for error in schema.error_log))
