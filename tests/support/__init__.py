"""What several tests share: fakes, pictures, processes."""
