"""One module per shape of data. A reader is iterated as often as needed and yields, in a stable order, samples or the
`DataError` that stands in the place of one; it holds no more than a batch of rows at a time."""
