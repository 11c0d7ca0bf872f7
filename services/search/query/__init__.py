"""Answers searches, from the request to the page of hits.

`searching` runs a search by a picture: `plans` checks the request, `preparation` embeds the query,
`candidates` asks the store, `scoring` ranks the candidates by probability, and `hits` makes the
messages. `embeddings` answers searches by an embedding. `ranking` asks the store for both and
breaks ties. Only the engine in `api` calls this room. Start with `searching`.
"""
