"""The agents' side of the server: their streams, their reports, who they are."""
