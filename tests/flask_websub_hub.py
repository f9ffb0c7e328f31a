"""The WebSub hub of Flask-WebSub as a process of its own: ``python flask_websub_hub.py FOLDER``.

It says its address on standard output. Celery does its tasks at once, in the request that asks for them.
"""

from __future__ import annotations

import sys
from pathlib import Path

from celery import Celery
from flask import Flask
from flask_websub.hub import Hub, SQLite3HubStorage
from werkzeug.serving import make_server


def main() -> None:
    app, celery = Flask(__name__), Celery("hub", broker="memory://")
    app.config["PUBLISH_SUPPORTED"] = True
    celery.conf.update(task_always_eager=True, task_eager_propagates=False)
    hub = Hub(SQLite3HubStorage(str(Path(sys.argv[1]) / "hub.sqlite3")), celery, **app.config)
    app.register_blueprint(hub.build_blueprint(url_prefix="/hub"))
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}/hub", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
