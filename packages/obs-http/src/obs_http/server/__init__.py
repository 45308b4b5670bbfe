"""Servers: FastAPI, Starlette and any ASGI application."""
