"""The words of `rei` that need nothing but the core: config, migrate, doctor, api, audit, refund."""
