"""What tests of the search service share: its servicer, archives and promotions in small."""
