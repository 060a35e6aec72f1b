"""Durability: what every server's model is loaded from and every commit goes to. SQLite in one process, etcd in several."""
