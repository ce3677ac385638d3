"""The table of all endpoints: method, path, handler, scope, what comes in, what can come out."""

from __future__ import annotations

from minihub.web.api.table_hub import HUB_ENDPOINTS
from minihub.web.api.table_servers import SERVER_ENDPOINTS
from minihub.web.api.table_users import USER_ENDPOINTS

ENDPOINTS = (*HUB_ENDPOINTS, *USER_ENDPOINTS, *SERVER_ENDPOINTS)
