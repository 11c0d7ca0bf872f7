"""Answering one search, from the request to the page of hits.

`searching` walks the whole way: `plans` reads the request, `preparation` embeds the query,
`candidates` asks the store, `scoring` turns evidence into a ranking, `hits` makes messages. Start
with `searching`.
"""
