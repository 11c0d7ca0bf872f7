"""Pages for tests: descriptions of each profile, and scans drawn from what they describe."""
