// The forms of ternion bench's results, read back into objects.
#pragma once

#include "program.hpp"

namespace cli
{

// What python3's sqlite3 module has in `table` after the statements of `sql`, as an array of objects.
inline Json sql_rows(const std::string &sql, const std::string &table)
{
    Folder folder;
    const std::string statements = folder / "a.sql", script = folder / "a.py", rows = folder / "rows.json";
    write_file(statements, sql);
    write_file(script, "import json, sqlite3, sys\n"
                       "db = sqlite3.connect(':memory:')\n"
                       "db.row_factory = sqlite3.Row\n"
                       "db.executescript(open(sys.argv[1]).read())\n"
                       "rows = [dict(zip(r.keys(), r)) for r in db.execute('SELECT * FROM ' + sys.argv[2])]\n"
                       "json.dump(rows, open(sys.argv[3], 'w'))\n");
    EXPECT_EQ(std::system(("python3 '" + script + "' '" + statements + "' " + table + " '" + rows + "'").c_str()), 0) << sql;
    return parse_json(read_file(rows));
}

// The fields of a line of csv.
inline std::vector<std::string> csv_fields(const std::string &line)
{
    std::vector<std::string> fields = {""};
    bool quoted = false;
    for (size_t i = 0; i < line.size(); i++) {
        if (line[i] == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
            fields.back() += line[++i];
        } else if (line[i] == '"') {
            quoted = !quoted;
        } else if (line[i] == ',' && !quoted) {
            fields.emplace_back();
        } else {
            fields.back() += line[i];
        }
    }
    return fields;
}

// An array of objects with the fields of csv, all of them texts.
inline Json csv_rows(const std::string &csv)
{
    std::istringstream lines(csv);
    std::string line;
    std::getline(lines, line);
    const std::vector<std::string> names = csv_fields(line);
    Json rows(json_array(), json_decref);
    while (std::getline(lines, line)) {
        const std::vector<std::string> fields = csv_fields(line);
        EXPECT_EQ(fields.size(), names.size()) << line;
        json_t *row = json_object();
        for (size_t i = 0; i < names.size() && i < fields.size(); i++)
            json_object_set_new(row, names[i].c_str(), json_string(fields[i].c_str()));
        json_array_append_new(rows.get(), row);
    }
    return rows;
}

// An array of the objects of lines of JSON.
inline Json jsonl_rows(const std::string &text)
{
    std::istringstream lines(text);
    Json rows(json_array(), json_decref);
    for (std::string line; std::getline(lines, line);) json_array_append(rows.get(), parse_json(line).get());
    return rows;
}

inline std::vector<std::string> names_of(const json_t *row)
{
    std::vector<std::string> names;
    const char *name = nullptr;
    json_t *value = nullptr;
    json_object_foreach(const_cast<json_t *>(row), name, value) names.emplace_back(name);
    return names;
}

// A value as csv writes it.
inline std::string csv_text(const json_t *value)
{
    char digits[64] = "";
    if (json_is_string(value)) return json_string_value(value);
    if (json_is_integer(value)) std::snprintf(digits, sizeof digits, "%lld", static_cast<long long>(json_integer_value(value)));
    if (json_is_real(value)) std::snprintf(digits, sizeof digits, "%f", json_real_value(value));
    return digits;
}

// `rows` of csv or sql have the objects of `json` up to the first field that is a list or an object, in the same order. Reals have six
// digits behind the point in one and twelve in all in the other.
inline void expect_same_rows(const json_t *rows, const json_t *json)
{
    ASSERT_EQ(json_array_size(rows), json_array_size(json));
    ASSERT_GT(json_array_size(json), 0u);
    for (size_t i = 0; i < json_array_size(json); i++) {
        const json_t *row = json_array_get(rows, i), *object = json_array_get(json, i);
        std::vector<std::string> names = names_of(row), whole = names_of(object);
        ASSERT_LT(names.size(), whole.size());
        EXPECT_TRUE(json_is_array(json_object_get(object, whole[names.size()].c_str()))) << whole[names.size()];
        whole.resize(names.size());
        EXPECT_EQ(names, whole);
        for (const std::string &name : names) {
            const json_t *value = json_object_get(row, name.c_str()), *expected = json_object_get(object, name.c_str());
            if (!json_is_real(expected)) {
                EXPECT_EQ(csv_text(value), csv_text(expected)) << name;
                continue;
            }
            const double wanted = json_real_value(expected);
            const double got = json_is_string(value) ? std::stod(json_string_value(value)) : json_number_value(value);
            EXPECT_NEAR(got, wanted, 1e-6 + 1e-11 * std::abs(wanted)) << name;
        }
    }
}

} // namespace cli
