"""The mathematics: Group -> advantages -> Sample -> Batch -> tensors -> loss. No I/O."""
