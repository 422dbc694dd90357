# Flattens a JSON document to lines "path<TAB>value": .meta.role, .keys.0.name. For etc/tiny/boot, which has no jq.
# Line breaks inside a string come out as the two characters \n; \uXXXX only for ASCII.
BEGIN { RS = "\001" }
{ text = $0; position = 1; value("") }

function skip() { while (substr(text, position, 1) ~ /[ \t\r\n]/) position++ }

function quoted(    result, rest, length_here, character, code) {
    position++
    while (position <= length(text)) {
        # whole stretches at once: this runs under emulation, where a loop over characters takes a second
        rest = substr(text, position)
        length_here = match(rest, /["\\]/)
        if (!length_here) { position = length(text) + 1; return result rest }
        result = result substr(rest, 1, length_here - 1)
        position += length_here
        if (substr(rest, length_here, 1) == "\"") return result
        character = substr(text, position++, 1)
        if (character == "n") result = result "\\n"
        else if (character == "t") result = result " "
        else if (character == "u") {
            code = hexadecimal(substr(text, position, 4)); position += 4
            result = result (code < 128 ? sprintf("%c", code) : "?")
        } else if (character !~ /[bfr]/) result = result character
    }
    return result
}

function hexadecimal(digits,    total, i) {
    for (i = 1; i <= length(digits); i++)
        total = total * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
    return total
}

function value(path,    character, name, count, start, closing) {
    skip()
    character = substr(text, position, 1)
    if (character == "{" || character == "[") {
        position++
        for (count = 0; ; count++) {
            skip()
            if (substr(text, position, 1) == ",") { position++; skip() }
            closing = substr(text, position, 1)
            if (closing == "]" || closing == "}" || closing == "") { position++; return }
            name = count
            if (character == "{") { name = quoted(); skip(); position++ }
            value(path "." name)
        }
    }
    if (character == "\"") { print path "\t" quoted(); return }
    start = position
    while (substr(text, position, 1) ~ /[-+.0-9a-zA-Z]/) position++
    if (position == start) { position = length(text) + 1; return }
    print path "\t" substr(text, start, position - start)
}
