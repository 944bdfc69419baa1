# `make test` is everything that CI runs; it installs what the tests need where it can.

.PHONY: test check deps fmt clippy unit doc docs bench soak package

test: deps fmt clippy doc unit

# Minutes, without network, browser and npm; needs PostgreSQL.
check: fmt clippy
	cargo nextest run --workspace --locked --profile check

deps:
	@.ci/deps

fmt:
	cargo fmt --all --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

unit:
	@if cargo nextest --version >/dev/null 2>&1; then \
		cargo nextest run --workspace --locked && cargo test --workspace --doc --locked; \
	else \
		cargo test --workspace --locked -- --test-threads=1; \
	fi

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# The documents as a book, in target/book.
docs:
	@command -v mdbook >/dev/null || { echo "install it: cargo install mdbook" >&2; exit 1; }
	mdbook build

# The cost of the instrument, of watching, and of a permission check.
bench:
	cargo bench --bench instrument --locked
	benches/monitor-cost
	cargo build --release --locked
	benches/permission-check
	CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --lib --locked -- --ignored --nocapture the_error_rates_of_the_paired_gate
	CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --lib --locked -- --ignored --nocapture the_intervals_of_every_pattern
	CARGO_PROFILE_DEV_OPT_LEVEL=2 cargo test --lib --locked -- --ignored --nocapture the_names_and_shares_of_every_plant

# Wheel, archive, Debian's and npm's packages into `dist/`, each tried in a clean place.
package:
	packaging/build
	packaging/try --incident

# The full scenarios, several minutes each, 50 runs in which nobody may be named, a service that is killed at each tenth of a
# gate's run, 51 kills over all phases, and ten scans on a machine without a free core.
soak:
	cargo build --release --locked
	.ci/soak
	cargo test --test program --locked -- --ignored --nocapture fifty_runs
	cargo test --test program --locked -- --ignored --nocapture killed_at_any_tenth
	cargo test --test program --locked -- --ignored --nocapture kills::
	cargo test --test program --locked -- --ignored --nocapture beside_programs_that_take_the_cores
