"""Talking to models. Only `choose` is light; import `agent` once a model has been chosen, for it brings the SDKs."""
