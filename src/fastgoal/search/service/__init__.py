"""The search service: a searcher behind a JSON API, and the page that uses it.

    socket -> guards (headers, host, rate, token, size) -> routes -> lanes (threads) -> searcher

The one idea: what a client sends is never a path, a condition or a file name. It is a text, numbers within limits,
pixels, or an id that is looked up in the index; whatever else arrives is turned away before it is read. This room is
the only one that imports FastAPI, and `fastgoal serve` the only one that imports this room.
"""
