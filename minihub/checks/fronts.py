"""Cures for front proxies that stand in the way, in the words of nginx, Apache and Traefik. Pure.

Sources: nginx, ngx_http_proxy_module; Apache 2.4, mod_proxy, mod_proxy_http (upgrade= from 2.4.47), mod_headers; Traefik 3,
entryPoints and services. configs/nginx.conf is a whole example.
"""

from __future__ import annotations

USUAL_IDLE_S = 120
"""Above what front proxies usually allow (60 s)."""

UPGRADE = """\
nginx:    proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection
          $minihub_connection; with the map of configs/nginx.conf
apache:   ProxyPass / http://127.0.0.1:8000/ upgrade=websocket    (2.4.47 or newer; before that mod_proxy_wstunnel)
traefik:  passes websockets on by itself: look at what stands before or behind it, and at its middlewares"""

HELD = """\
nginx:    proxy_buffering off; and no other proxy or filter (WAF, antivirus) behind it that reads websockets
apache:   ProxyPass ... upgrade=websocket flushpackets=on
traefik:  no buffering middleware on this router"""

BUFFERING = """\
nginx:    proxy_buffering off; no proxy_ignore_headers X-Accel-Buffering; no gzip for text/event-stream
apache:   ProxyPass ... flushpackets=on, and SetEnvIf Request_URI "/(events|progress)$" no-gzip
traefik:  no buffering and no compress middleware on this router (or excludedContentTypes: text/event-stream)"""

IDLE = f"""\
nginx:    proxy_read_timeout 1d; proxy_send_timeout 1d;
apache:   ProxyPass ... timeout=86400    (else ProxyTimeout, else Timeout)
traefik:  entryPoints.NAME.transport.respondingTimeouts: readTimeout = 0, idleTimeout = 1d
A firewall or load balancer may have a limit of its own; --idle {USUAL_IDLE_S} tries again."""

PROTO = """\
nginx:    proxy_set_header X-Forwarded-Proto $scheme;
apache:   RequestHeader set X-Forwarded-Proto "{scheme}"
traefik:  sets it by itself; behind another proxy: entryPoints.NAME.forwardedHeaders.trustedIPs"""

HOST = """\
nginx:    proxy_set_header Host $http_host; proxy_set_header X-Forwarded-Host $http_host;
apache:   ProxyPreserveHost On
traefik:  passHostHeader: true (the default) in the service's loadBalancer"""

ADDRESS = """\
nginx:    proxy_set_header X-Forwarded-For $remote_addr;
apache:   mod_proxy_http sets it, unless ProxyAddHeaders is Off
traefik:  sets it by itself"""

PATH = """\
The front proxy has to pass the path on as it came: nginx: proxy_pass http://127.0.0.1:8000; without a path behind the
port; apache: the same path twice in ProxyPass; traefik: no stripPrefix middleware."""

CERTIFICATE = """\
Does the front proxy send its whole chain (nginx: ssl_certificate with fullchain.pem), for this name, not expired? A
certificate of the site's own authority has to be known to this machine (update-ca-certificates)."""

NOBODY = """\
Does the front proxy run, listen on this port and stand in no firewall? Is hub.public_url what users type? Some networks do
not let a machine reach its own public address: then check from elsewhere with a browser."""
