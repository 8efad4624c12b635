"""Several sandboxes that share the devices of one machine. Knows no more of a sandbox than its interface."""
