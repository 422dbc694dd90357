"""The extensions that this cloud offers. Clients switch features on by these aliases, so only what works stands here."""

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
    Extension("allowed-address-pairs", "Allowed Address Pairs", "Addresses beyond a port's own that it may use"),
    Extension("availability_zone", "Availability Zone", "The zones of this cloud"),
    Extension("binding", "Port Binding", "Where and how a port is connected"),
    Extension("default-subnetpools", "Default Subnetpools", "A pool for subnets that name none"),
    Extension("dns-integration", "DNS Integration", "Names of ports, answered by the network's own DNS"),
    Extension("empty-string-filtering", "Empty String Filtering", "Lists filtered by an empty value"),
    Extension("external-net", "External Network", "Networks that lead out of the cloud"),
    Extension("extra_dhcp_opt", "Extra DHCP options", "DHCP options of single ports"),
    Extension("filter-validation", "Filter Validation", "Unknown filters are refused"),
    Extension("ip-substring-filtering", "IP Substring Filtering", "Ports found by a part of an address"),
    Extension("net-mtu", "Network MTU", "The MTU of a network"),
    Extension("net-mtu-writable", "Network MTU (writable)", "Networks with an MTU of one's own"),
    Extension("network_availability_zone", "Network Availability Zone", "Zones of networks"),
    Extension("pagination", "Pagination", "Lists in pages"),
    Extension("port-mac-address-regenerate", "Port MAC address regenerate", "A port gets a new MAC"),
    Extension("port-security", "Port Security", "Ports without filters"),
    Extension("port-security-groups-filtering", "Port filtering on security groups", "Ports found by group"),
    Extension("project-id", "Project ID", "project_id beside tenant_id"),
    Extension("provider", "Provider Network", "How networks are made, for administrators"),
    Extension("revision-if-match", "If-Match", "Changes only of the revision that was seen"),
    Extension("security-group", "Security Groups", "What machines may receive and send"),
    Extension("security-groups-normalized-cidr", "Normalized CIDR", "Rules show the network that they mean"),
    Extension("security-groups-shared-filtering", "Shared security groups filtering", "Groups found by being shared"),
    Extension("sorting", "Sorting", "Lists in any order"),
    Extension("sort-key-validation", "Sort Key Validation", "Unknown sort keys are refused"),
    Extension("standard-attr-description", "Description", "A description of everything"),
    Extension("standard-attr-revisions", "Revisions", "A number that counts changes"),
    Extension("standard-attr-timestamp", "Timestamps", "When things were made and changed"),
    Extension("stateful-security-group", "Stateful security group", "Groups that remember flows, or don't"),
    Extension("subnet-service-types", "Subnet service types", "Subnets for certain kinds of ports"),
    Extension("tag-ports-during-bulk-creation", "Tag Ports During Bulk Creation", "Tags in the creation of ports"),
)
