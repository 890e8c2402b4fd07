"""From records to a trained model: an example, run from the repository's root by `make pipeline`.

`ingest` reads records and makes batches, `scale` places them on devices, `checkpoints` keeps what
training needs to go on, `train` puts the three together.
"""
