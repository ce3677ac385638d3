"""See the room's own page here soon."""
