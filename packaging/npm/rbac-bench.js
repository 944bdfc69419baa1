#!/usr/bin/env node
// Starts the program of this platform's package, and ends as it does.

const { spawnSync } = require("node:child_process");

const name = `rbac-bench-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/rbac-bench`);
} catch {
  console.error(`error: there is no package \`${name}\`: rbac-bench has none for this platform, or npm was told to omit optional ones`);
  console.error("  hint: `cargo install rbac-bench` builds it");
  process.exit(1);
}
// It takes the terminal's signals itself.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => {});
const { status, signal, error } = spawnSync(program, process.argv.slice(2), { stdio: "inherit" });
if (error) {
  console.error(`error: cannot start \`${program}\`: ${error.message}`);
  process.exit(1);
}
if (signal) process.kill(process.pid, signal);
process.exit(status ?? 1);
