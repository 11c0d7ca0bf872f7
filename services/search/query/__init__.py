"""Answers one search, from the request to the page of hits.

`searching` walks the whole way: `plans` checks the request, `preparation` embeds the query,
`candidates` asks the store, `scoring` ranks by probability, and `hits` makes the messages. Only the
engine in `api` calls this room. Start with `searching`.
"""
