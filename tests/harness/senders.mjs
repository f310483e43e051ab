// Runs what a sender runs in JavaScript, with stand-ins for what the sender hands to it, and prints the body that it sends.
//   node senders.mjs datadog|servicenow|zapier|n8n FILE     the data as JSON on standard input
//   node senders.mjs power-automate FILE                    the data and expressions; it prints what the expressions are
// n8n's own engine evaluates the expression where SENDERS_ENGINES names the folder that has it, and Microsoft's for Power Automate.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [engine, file] = process.argv.slice(2);
const source = readFileSync(file, "utf8");
const data = JSON.parse(readFileSync(0, "utf8"));

function datadog() {
  return JSON.stringify(new Function("$", source)({ Steps: { Get_incident: { data } } }));
}

function servicenow() {
  const current = {
    getValue: (name) => data[name] ?? null,
    getDisplayValue: (name) => data.display[name],
    getUniqueValue: () => data.sys_id,
  };
  const gs = {
    getProperty: (name) => ({ "glide.servlet.uri": "https://example.service-now.com/" })[name],
    error(message) {
      throw new Error(message);
    },
  };
  class StandardCredentialsProvider {
    getCredentialByID = () => ({ getAttribute: (name) => ({ api_key: "secret" })[name] });
  }
  let sent;
  class RESTMessageV2 {
    substitutes = true;
    setEndpoint(url) {
      this.url = url;
    }
    setHttpMethod(method) {
      this.method = method;
    }
    setRequestHeader(name, value) {
      this[name] = value;
    }
    disableForcedVariableSubstitution() {
      this.substitutes = false;
    }
    setRequestBody(body) {
      this.body = body;
    }
    execute() {
      if (this.method !== "post" || this.Authorization !== "Bearer secret" || !this.url.endsWith("/api/incidents.upsert")) {
        throw new Error("the request is not the one that it should be");
      }
      sent = this.substitutes ? this.body.replace(/\$\{\w+\}/g, "") : this.body;
      return { getStatusCode: () => 200 };
    }
  }
  new Function("current", "previous", "gs", "sn_ws", "sn_cc", source)(current, null, gs, { RESTMessageV2 }, { StandardCredentialsProvider });
  return sent;
}

async function zapier() {
  const AsyncFunction = (async () => {}).constructor;
  const sent = [];
  const answer = (status, body) => async (url, request) => {
    if (request.method !== "POST" || request.headers.Authorization !== "Bearer secret" || !url.endsWith("/api/incidents.upsert")) {
      throw new Error("the request is not the one that it should be");
    }
    sent.push(request.body);
    return new Response(body, { status });
  };
  const run = new AsyncFunction("inputData", "fetch", source);
  const output = await run({ ...data, token: "secret" }, answer(200, '{"ok":true,"action":"created"}'));
  if (output.action !== "created") throw new Error("the step does not return the response");
  const failed = await run({ ...data, token: "secret" }, answer(503, "not now")).catch((error) => error.message);
  if (failed !== "503 not now") throw new Error(`a response of 503 does not make the step fail: ${failed}`);
  return sent[0];
}

function n8n() {
  const expression = JSON.parse(source).nodes[0].parameters.jsonBody;
  const whole = /^=\{\{(.*)\}\}$/s.exec(expression);
  if (!whole) throw new Error(`not one expression: ${expression}`);
  if (!process.env.SENDERS_ENGINES) return new Function("$json", `return (${whole[1]})`)(data);

  const { Workflow } = createRequire(`${process.env.SENDERS_ENGINES}/`)("n8n-workflow");
  const node = { id: "1", name: "Upsert", type: "test", typeVersion: 1, position: [0, 0], parameters: {} };
  const description = { properties: [], defaults: {}, inputs: [], outputs: [], version: 1 };
  const nodeTypes = { getByNameAndVersion: () => ({ description }), getByName: () => ({ description }) };
  const workflow = new Workflow({ id: "1", nodes: [node], connections: {}, active: false, nodeTypes });
  const items = [{ json: data }];
  return workflow.expression.getParameterValue(expression, null, 0, 0, "Upsert", items, "manual", {});
}

// The library of Microsoft's bots has the functions of Power Automate's expressions, but neither its triggerBody nor its ?.
function powerAutomate() {
  const { Expression } = createRequire(`${process.env.SENDERS_ENGINES}/`)("adaptive-expressions");
  const values = data.expressions.map((text) => {
    const plain = text.slice(1).replaceAll("triggerBody()", "trigger").replaceAll("?[", "[");
    const { value, error } = Expression.parse(plain).tryEvaluate({ trigger: data.trigger });
    if (error) throw new Error(`${text}: ${error}`);
    return value ?? null;
  });
  return JSON.stringify(values);
}

process.stdout.write(await { datadog, servicenow, zapier, n8n, "power-automate": powerAutomate }[engine]());
