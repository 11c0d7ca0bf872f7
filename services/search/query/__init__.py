"""Answers one search, from the request to the page of hits.

`searching` runs the whole search: `plans` checks the request, `preparation` embeds the query,
`candidates` asks the store, `scoring` ranks the candidates of a picture by probability, `ranking`
orders hits of an embedding and breaks ties, and `hits` makes the messages. Only the engine in `api`
calls this room. Start with `searching`.
"""
