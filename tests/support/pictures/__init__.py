"""Pictures made for tests: good and broken files, scenes, printed pages, labelled archives."""
