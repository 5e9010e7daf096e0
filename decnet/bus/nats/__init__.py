"""The NATS adapter: it alone knows nats-py and the server that comes with it."""
