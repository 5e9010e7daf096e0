"""The bus: topics, envelope, adapters (NATS/JetStream, memory, null), the embedded server."""
