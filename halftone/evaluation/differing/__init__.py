"""Trains the network that says where two registered printings of one picture differ."""
