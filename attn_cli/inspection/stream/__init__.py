"""The streamed pass: tiles of query rows × keys with an online softmax, shared out over threads."""
