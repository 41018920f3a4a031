"""Search: images (and their regions) in an index, found by a paragraph or by another image.

images -> embeddings -> index (a LanceDB table at a URI) -> searcher -> hits -> command line, page
"""
