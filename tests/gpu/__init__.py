"""What needs a GPU: tests, benchmarks and a short training run. `make gpu`; see docs/gpu.md."""
