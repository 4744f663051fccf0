//! HTTP, authentication, authorisation, admission, the generic handlers, watch, discovery, OpenAPI.
