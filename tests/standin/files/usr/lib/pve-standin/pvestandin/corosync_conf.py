"""corosync.conf: reading, writing, and what a new cluster or a new node puts in."""


def parse(text):
    """Returns sections as nested dicts; `nodelist` becomes {name: {...}}, links a dict."""
    top = {"nodelist": {}}
    stack = [top]
    for raw in text.splitlines():
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        if line.endswith("{"):
            name = line[:-1].strip()
            section = {}
            if name == "node" and len(stack) == 2:
                stack[1].setdefault("_nodes", []).append(section)
            elif name == "interface":
                stack[-1].setdefault("interface", {})[str(len(stack[-1].get("interface", {})))] = section
            else:
                stack[-1][name] = section
            stack.append(section)
        elif line == "}":
            if len(stack) == 1:
                raise ValueError("corosync.conf: a } without its {")
            stack.pop()
        else:
            key, colon, value = line.partition(":")
            if not colon:
                raise ValueError("corosync.conf: no colon in %r" % line)
            stack[-1][key.strip()] = value.strip()
    if len(stack) != 1:
        raise ValueError("corosync.conf: a section is not closed")
    nodes = top["nodelist"].pop("_nodes", [])
    top["nodelist"] = {node.get("name", node.get("ring0_addr", "")): node for node in nodes}
    return top


def render(conf):
    """The text in the order and layout that the real one has."""
    lines = []

    def section(name, values, depth):
        lines.append("  " * depth + name + " {")
        for key in sorted(values):
            value = values[key]
            if key == "interface":
                for number in sorted(value):
                    section("interface", value[number], depth + 1)
            else:
                lines.append("  " * (depth + 1) + "%s: %s" % (key, value))
        lines.append("  " * depth + "}")

    section("logging", conf["logging"], 0)
    lines += ["", "nodelist {"]
    for name in sorted(conf["nodelist"]):
        section("node", conf["nodelist"][name], 1)
    lines += ["}", ""]
    section("quorum", conf["quorum"], 0)
    lines.append("")
    section("totem", conf["totem"], 0)
    return "\n".join(lines) + "\n\n"


def new_cluster(cluster, name, addresses, nodeid=1, votes=1):
    """The configuration of a cluster with its first node; `addresses` by the number of the link."""
    return {
        "logging": {"debug": "off", "to_syslog": "yes"},
        "nodelist": {name: node(name, nodeid, addresses, votes)},
        "quorum": {"provider": "corosync_votequorum"},
        "totem": {
            "cluster_name": cluster,
            "config_version": "1",
            "interface": {str(number): {"linknumber": str(number)} for number in sorted(addresses)},
            "ip_version": "ipv4-6",
            "link_mode": "passive",
            "secauth": "on",
            "token_coefficient": "125",
            "version": "2",
        },
    }


def node(name, nodeid, addresses, votes=1):
    """An entry; no vote at all is left out, as the real one does it, and then counts as one."""
    entry = {"name": name, "nodeid": str(nodeid)}
    if votes:
        entry["quorum_votes"] = str(votes)
    entry.update({"ring%d_addr" % number: address for number, address in addresses.items()})
    return entry


def links(entry):
    """The addresses of a node by the number of the link."""
    found = {}
    for key, value in entry.items():
        if key.startswith("ring") and key.endswith("_addr") and key[4:-5].isdigit():
            found[int(key[4:-5])] = value
    return found


def version(conf):
    return int(conf["totem"]["config_version"])


def raise_version(conf):
    conf["totem"]["config_version"] = str(version(conf) + 1)


def free_nodeid(nodelist):
    """The lowest number that no node has."""
    used = {int(entry["nodeid"]) for entry in nodelist.values()}
    number = 1
    while number in used:
        number += 1
    return number
