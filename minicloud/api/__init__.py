"""The frame of the wire: routes, schemas, microversions, policy, faults, paging. The only place that imports aiohttp.web."""
