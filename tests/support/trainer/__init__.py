"""What tests of the trainer share: a training loop that obeys, Valkey, the trainer's desk."""
