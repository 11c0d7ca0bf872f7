"""What tests of the client and the terminal share: gRPC servers that play the services."""
