"""The Networking API v2.0 over HTTP: attributes, policy, dispatch, and the server that carries them."""
