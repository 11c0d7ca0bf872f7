"""The page: drop a picture, see where else it was printed, look closely, judge.

A process of its own that speaks HTTP to browsers and gRPC to the other services, through the
asynchronous client. `answers` says what there is to show, `pages` shows it, `words` puts it into
the reader's language, and `safety` keeps strangers' requests out. Read `app.py` first: it lists
every address.
"""
