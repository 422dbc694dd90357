"""The extensions that this cloud offers. Clients switch features on by these aliases, and find them by their names, which
are Neutron's; so only what works stands here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Extension:
    """One line of GET /extensions."""

    alias: str
    name: str
    description: str
    updated: str = "2026-01-01T00:00:00-00:00"


EXTENSIONS = (
    Extension("address-scope", "Address scope", "Subnet pools within which addresses are unique"),
    Extension("agent", "agent", "The parts of the daemon that do agents' work"),
    Extension("dhcp_agent_scheduler", "DHCP Agent Scheduler", "Which agent serves which network: one serves all"),
    Extension("ext-gw-mode", "Neutron L3 Configurable external gateway mode", "Routers without source NAT"),
    Extension("extraroute", "Neutron Extra Route", "Routes of a router"),
    Extension(
        "extraroute-atomic", "Atomically add/remove extra routes", "Single routes of a router put in and taken out"
    ),
    Extension("fip-port-details", "Floating IP Port Details Extension", "Floating IPs show the port that they lead to"),
    Extension(
        "l3-port-ip-change-not-allowed",
        "Prevent L3 router ports IP address change extension",
        "Addresses of a router's ports stay",
    ),
    Extension("network-ip-availability", "Network IP Availability", "How full networks are"),
    Extension("quota-check-limit", "Quota engine limit check", "Limits under what is in use are refused on demand"),
    Extension("quota_details", "Quota details management support", "What a project uses"),
    Extension("quotas", "Quota management support", "Limits of projects"),
    Extension("rbac-address-scope", "Add address_scope type to RBAC", "Address scopes for other projects"),
    Extension("rbac-policies", "RBAC Policies", "Networks for other projects"),
    Extension("rbac-security-groups", "Add security_group type to network RBAC", "Security groups for other projects"),
    Extension("rbac-subnetpool", "Add subnetpool type to RBAC", "Subnet pools for other projects"),
    Extension("router", "Neutron L3 Router", "Routers and floating IPs"),
    Extension("router_availability_zone", "Router Availability Zone", "Zones of routers"),
    Extension(
        "standard-attr-tag",
        "Tag support for resources with standard attribute: port, subnet, subnetpool, network, security_group, router, floatingip",
        "Words on things, to find them by",
    ),
    Extension("subnet_allocation", "Subnet Allocation", "Subnets cut out of pools"),
    Extension("subnetpool-prefix-ops", "Subnet Pool Prefix Operations", "Prefixes of a pool put in and taken out"),
    Extension("tag-creation", "Tag creation", "Several tags at once"),
    Extension("allowed-address-pairs", "Allowed Address Pairs", "Addresses beyond a port's own that it may use"),
    Extension("availability_zone", "Availability Zone", "The zones of this cloud"),
    Extension("binding", "Port Binding", "Where and how a port is connected"),
    Extension("default-subnetpools", "Default Subnetpools", "A pool for subnets that name none"),
    Extension("dns-integration", "DNS Integration", "Names of ports, answered by the network's own DNS"),
    Extension("empty-string-filtering", "Empty String Filtering Extension", "Lists filtered by an empty value"),
    Extension("external-net", "Neutron external network", "Networks that lead out of the cloud"),
    Extension("extra_dhcp_opt", "Neutron Extra DHCP options", "DHCP options of single ports"),
    Extension("filter-validation", "Filter parameters validation", "Unknown filters are refused"),
    Extension("ip-substring-filtering", "IP address substring filtering", "Ports found by a part of an address"),
    Extension("net-mtu", "Network MTU", "The MTU of a network"),
    Extension("net-mtu-writable", "Network MTU (writable)", "Networks with an MTU of one's own"),
    Extension("network_availability_zone", "Network Availability Zone", "Zones of networks"),
    Extension("pagination", "Pagination support", "Lists in pages"),
    Extension("port-mac-address-regenerate", "Neutron Port MAC address regenerate", "A port gets a new MAC"),
    Extension("port-security", "Port Security", "Ports without filters"),
    Extension("port-security-groups-filtering", "Port filtering on security groups", "Ports found by group"),
    Extension("project-id", "project_id field enabled", "project_id beside tenant_id"),
    Extension("provider", "Provider Network", "How networks are made, for administrators"),
    Extension(
        "revision-if-match",
        "If-Match constraints based on revision_number",
        "Changes only of the revision that was seen",
    ),
    Extension("security-group", "security-group", "What machines may receive and send"),
    Extension(
        "security-groups-normalized-cidr",
        "Normalized CIDR field for security group rules",
        "Rules show the network that they mean",
    ),
    Extension(
        "security-groups-shared-filtering",
        "Security group filtering on the shared field",
        "Groups found by being shared",
    ),
    Extension("service-type", "Neutron Service Type Management", "Who provides which service: this daemon all"),
    Extension("sorting", "Sorting support", "Lists in any order"),
    Extension("sort-key-validation", "Sort Key Validation", "Unknown sort keys are refused"),
    Extension("standard-attr-description", "standard-attr-description", "A description of everything"),
    Extension("standard-attr-revisions", "Resource revision numbers", "A number that counts changes"),
    Extension("standard-attr-timestamp", "Resource timestamps", "When things were made and changed"),
    Extension("stateful-security-group", "Stateful security group", "Groups that remember flows, or don't"),
    Extension("subnet-service-types", "Subnet service types", "Subnets for certain kinds of ports"),
    Extension("tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "Tags in the creation of ports"),
)
