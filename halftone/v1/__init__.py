"""Generated from protos/halftone/v1 by `make protos`; do not edit."""
