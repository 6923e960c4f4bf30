//! Against a server on loopback that keeps runs as MLflow does.
