.DEFAULT_GOAL := help
.PHONY: help setup build demo agents test-agents nightly fixtures recipes test attacks lint typecheck factory-local factory-status run-scenarios compile-feedback bench bench-peers fuzz install

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-18s %s\n", $$1, $$2 }' Makefile

setup: ## Fetch the dependencies
	cargo fetch --locked
	cargo fetch --locked --manifest-path fuzz/Cargo.toml

build: ## Build the five binaries in target/release
	cargo build --release --locked --bins

demo: build ## Watch a product converge with a recorded agent
	./examples/demo.sh target/release

agents: ## Install the real agents that the tests drive, pinned, into target/agents (needs Node 20)
	./tests/agents/install.sh

fixtures: build ## Judge products that need PostgreSQL and Chromium (examples/fixtures/setup.sh installs them)
	./examples/fixtures/run.sh target/release

recipes: build ## Run the recipes of docs/recipes.md with real package managers (RECIPE=uv for one)
	./examples/recipes/run.py $(RECIPE)

test: ## Run the tests
	cargo test --locked --features model-server --lib --bins --test it --test attacks

attacks: ## Play a hostile agent and product against each tier (UPDATE=1 writes docs/attacks.md)
	UPDATE_ATTACKS="$(UPDATE)" cargo test --locked --test attacks

test-agents: agents ## Run the real agents through whole loops against the model server
	cargo test --locked --features model-server --test agents

nightly: ## All that is too long for each change: every agent, every kill, fuzzing, the measurements
	./.ci/nightly

lint: ## Check the format, run clippy, and check that the fuzz targets build
	cargo fmt --check && cargo clippy --locked --all-targets --features model-server -- -D warnings
	@# What it would link with is C++, and is not looked at.
	CUSTOM_LIBFUZZER_PATH=/none/libfuzzer.a cargo check --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz

typecheck: ## Check the types of every target
	cargo check --locked --all-targets

factory-local: build ## Judge this repository and write the feedback, without an agent
	target/release/iterate --no-agent --in-place

factory-status: build ## Show the iteration and the score
	target/release/factory status

run-scenarios: build ## Judge this repository by its scenarios alone
	target/release/run-scenarios

compile-feedback: build ## Write the feedback for the latest results
	target/release/compile-feedback

bench: ## Measure the loop on 50,000 files, and the runner (PART=runner for one part)
	cargo bench --locked -- $(PART)

bench-peers: ## Put other runners into target/peers, for `make bench` to compare with
	./benches/overhead/peers/install.sh

fuzz: ## Search for inputs that break the parsers (TARGET=mask SECONDS=600)
	./fuzz/run.sh "$(TARGET)" $(SECONDS)

install: ## Put the binaries into ~/.cargo/bin
	cargo install --locked --path .
