"""Stand-ins for the embedder: its servicer, and an encoder that is told what to do."""
