"""Several sandboxes that share the devices of one machine. This package uses only the interface of a sandbox."""
