// A business rule on Incident: after insert and update, as an advanced script.
(function executeRule(current, previous) {
    var token = new sn_cc.StandardCredentialsProvider().getCredentialByID('SYS_ID').getAttribute('api_key');
    var services = ['business_service', 'cmdb_ci'].filter(function (field) {
        return current.getValue(field);
    }).map(function (field) {
        return { identifier: current.getValue(field), name: current.getDisplayValue(field) };
    });
    var request = new sn_ws.RESTMessageV2();

    request.setEndpoint('https://incidents.example.com/api/incidents.upsert');
    request.setHttpMethod('post');
    request.setRequestHeader('Authorization', 'Bearer ' + token);
    request.setRequestHeader('Content-Type', 'application/json');
    request.disableForcedVariableSubstitution(); // else ${...} in a description is taken for a variable
    request.setRequestBody(JSON.stringify({
        reference_id: current.getValue('number'),
        name: current.getValue('short_description'),
        priority: current.getDisplayValue('priority'),
        source_url: gs.getProperty('glide.servlet.uri') + 'incident.do?sys_id=' + current.getUniqueValue(),
        started_at: current.getValue('opened_at'),
        resolved_at: current.getValue('resolved_at') || null,
        services: services
    }));

    var response = request.execute();
    if (response.getStatusCode() != 200) {
        gs.error('incidents.upsert: ' + response.getStatusCode() + ' ' + response.getBody());
    }
})(current, previous);
