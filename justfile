# The commands of a developer. `just` alone lists them.

python := env_var_or_default("PYTHON", "python3")

_default:
    @just --list

# Build the C core in place, and install the tools.
dev:
    {{python}} -m pip install -e '.[dev,test,demo]'

# The quick tests, in a minute: none starts a server or kills a process.
test-fast *OPTIONS:
    {{python}} -m pytest -q tests/boundaries tests/spec tests/control/protocol tests/mechestim/costs tests/mechestim/symmetry tests/tools tests/test_trajectory.py tests/test_trajectory_slots.py {{OPTIONS}}

# The tests of a source file or folder, or of several.
test +PATHS:
    {{python}} tools/tests_for.py {{PATHS}}

# Style and types, as CI checks them.
lint:
    tox run -e lint,types

# Write the files that are generated and checked in.
generate:
    tox run -e generate

# Build the site strictly, and check what its pages load.
docs:
    tox run -e docs

# Run the benchmarks, and write the charts and the table of the benchmarks page.
bench *OPTIONS:
    {{python}} benchmarks/publish.py {{OPTIONS}}

# Build, install and try what a release would publish.
release-check:
    tox run -e release-check
