"""What is said to readers, in their language.

`languages.py` has the catalogues and chooses one; `sentences.py` says in words what a search or a
comparison found, and when. Read `languages.py` first.
"""
