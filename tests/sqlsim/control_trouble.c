/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sqlsim/control.h"

#include <arpa/inet.h>
#include <string.h>

json_t *control_troubles_json(const struct troubles *troubles)
{
    json_t *list = json_array();

    for (size_t i = 0; i < troubles->count; i++) {
        const struct trouble *rule = &troubles->rules[i];
        json_t *arguments = json_array();
        char from[INET_ADDRSTRLEN];

        for (size_t n = 0; n < rule->argument_count; n++)
            json_array_append_new(arguments, json_integer(rule->arguments[n]));
        inet_ntop(AF_INET, &rule->from, from, sizeof(from));
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:o, s:s?, s:s?, s:s?, s:I, s:I}", "kind",
                            trouble_kind_name(rule->kind), "at", trouble_stage_name(rule->stage),
                            "arguments", arguments, "login", rule->login, "statement",
                            rule->statement, "from", rule->from ? from : NULL, "occasions",
                            (json_int_t)rule->occasions, "hits", (json_int_t)rule->hits));
    }
    return list;
}

json_t *control_trouble(struct simulator *simulator, struct control_words *words)
{
    size_t instance = model_find_instance(&simulator->model, words->words[1]);
    struct troubles *troubles;
    const char *problem;

    if (instance == MODEL_NONE)
        return control_error("no such instance");
    troubles = &simulator->instances[instance].troubles;
    if (words->count == 3 && strcmp(words->words[2], "off") == 0)
        troubles_clear(troubles);
    else if (troubles_add(troubles, words->words + 2, words->count - 2, &problem))
        return control_error(problem);
    return json_pack("{s:b, s:I, s:o}", "ok", 1, "hits", (json_int_t)troubles->hits, "troubles",
                     control_troubles_json(troubles));
}
