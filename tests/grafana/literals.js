// Writes the dashboards as literals of Grafana's own types (package @grafana/schema), for the TypeScript compiler to judge: in a
// literal it finds what is missing, of another type, misspelt or unknown.
//   node literals.js FILE... >dashboards.ts
const fs = require("fs");

const options = { stat: "Stat", timeseries: "TimeSeries", table: "Table" };
const panelcfg = (kind, name) => `@grafana/schema/dist/esm/raw/composable/${kind}/panelcfg/x/${name}PanelCfg_types.gen`;
console.log(`import type { Dashboard, Panel, VariableModel } from "@grafana/schema";
import type { Options as Stat } from "${panelcfg("stat", "Stat")}";
import type { Options as TimeSeries, FieldConfig } from "${panelcfg("timeseries", "TimeSeries")}";
import type { Options as Table } from "${panelcfg("table", "Table")}";
// JSON has the texts that the enumerations stand for, and leaves out what has a default.
type Plain<T> = T extends string ? \`\${T}\` : T extends number | boolean | null | undefined ? T
    : T extends Array<infer U> ? Plain<U>[] : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
type Given<T> = Partial<Plain<T>>;`);

let count = 0;
const literal = (type, value) => console.log(`export const literal${count++}: Given<${type}> = ${JSON.stringify(value)};`);
for (const file of process.argv.slice(2)) {
    const { panels, templating, ...dashboard } = JSON.parse(fs.readFileSync(file, "utf8"));
    literal("Dashboard", dashboard);
    templating.list.forEach((variable) => literal("VariableModel", variable));
    for (const { options: given, fieldConfig, ...panel } of panels) {
        const { custom, ...defaults } = fieldConfig.defaults;
        if (!options[panel.type]) throw new Error(`${file}: no types for a panel of type ${panel.type}`);
        literal("Panel", { ...panel, fieldConfig: { ...fieldConfig, defaults } });
        literal(options[panel.type], given);
        if (panel.type === "timeseries") literal("FieldConfig", custom);
    }
}
