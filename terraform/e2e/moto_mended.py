"""The moto server (5.2), with what it gets wrong about this stack mended.

Each mend says what AWS does and moto does not. When moto is right one day, a
mend changes nothing and can go.

    python moto_mended.py PORT      listens on 127.0.0.1 alone
"""

import io
import json
import re
import sys
import threading
from urllib.parse import parse_qs, urlencode

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple


class Mended:
    """A WSGI application in front of moto's."""

    def __init__(self, moto):
        self.moto = moto
        self.one_at_a_time = threading.Lock()
        self.given = {}  # answers, by invocation
        self.target_tags = {}  # of scalable targets, by ARN
        self.links = {}  # VPC links of integrations, by path
        self.grace = {}  # grace periods of ECS services, by name
        self.descriptions = {}  # of security group rules, by id

    def __call__(self, environ, start_response):
        """One call at a time, for moto is not made for threads. A call that the
        SDK repeats, because its answer was lost, gets that answer again instead
        of an error about what the first one has deleted."""
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        invocation = environ.get("HTTP_AMZ_SDK_INVOCATION_ID")
        with self.one_at_a_time:
            given = self.given.get(invocation) or self.answer(environ, body)
            if invocation and given[0].startswith("2"):
                self.given[invocation] = given
        status, headers, answer = given
        start_response(status, headers)
        return [answer]

    def answer(self, environ, body):
        operation = operation_of(environ, body)
        if operation == "AnyScaleFrontendService.ListTagsForResource":
            return self.answer_target_tags(body)
        if operation == "RunInstances":
            body = with_groups(body)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))

        begun = []
        answer = b"".join(self.moto(environ, lambda status, headers, exc_info=None: begun.extend([status, headers])))
        status, headers = begun
        if status.startswith("2"):
            answer = self.mend(environ, operation, body, answer)
        headers = [(k, v) for k, v in headers if k.lower() != "content-length"]
        return status, headers + [("Content-Length", str(len(answer)))], answer

    def mend(self, environ, operation, body, answer):
        path = environ["PATH_INFO"]
        if re.fullmatch(r"/restapis/[^/]+", path) and answer:
            return escape_policy(answer)
        if path.endswith("/integration") and answer:
            return self.keep_link(path, environ["REQUEST_METHOD"], body, answer)
        if operation == "AnyScaleFrontendService.RegisterScalableTarget":
            arn = json.loads(answer)["ScalableTargetARN"]
            self.target_tags.setdefault(arn, {}).update(json.loads(body).get("Tags") or {})
        if operation.startswith("AmazonEC2ContainerServiceV20141113.") and operation.endswith(("Service", "Services")):
            return self.keep_grace(body, answer)
        if operation.startswith("AuthorizeSecurityGroup"):
            self.note_description(body, answer)
        if operation == "DescribeSecurityGroupRules":
            return self.describe_rules(answer)
        if operation == "DescribeLoadBalancers":
            return describe_load_balancers(answer)
        return answer

    def answer_target_tags(self, body):
        """moto: status 500."""
        arn = json.loads(body)["ResourceARN"]
        answer = json.dumps({"Tags": self.target_tags.get(arn, {})}).encode()
        return "200 OK", [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(answer)))], answer

    def keep_link(self, path, method, body, answer):
        """moto forgets an integration's VPC link."""
        if method == "PUT":
            self.links[path] = json.loads(body).get("connectionId")
        integration = json.loads(answer)
        if self.links.get(path):
            integration["connectionId"] = self.links[path]
        return json.dumps(integration).encode()

    def keep_grace(self, body, answer):
        """moto forgets a service's grace period, and knows no rebalancing."""
        asked, found = json.loads(body), json.loads(answer)
        if "healthCheckGracePeriodSeconds" in asked:
            self.grace[asked.get("serviceName") or asked.get("service")] = asked["healthCheckGracePeriodSeconds"]
        for service in found.get("services") or [found[key] for key in ["service"] if key in found]:
            service["healthCheckGracePeriodSeconds"] = self.grace.get(service["serviceName"], 0)
            service.setdefault("availabilityZoneRebalancing", "DISABLED")
        return json.dumps(found).encode()

    def note_description(self, body, answer):
        """moto forgets descriptions of rules that name a group or a prefix list."""
        texts = [v[0] for k, v in parse_qs(body.decode()).items() if k.startswith("IpPermissions.") and k.endswith(".Description")]
        ids = re.findall(rb"<securityGroupRuleId>([^<]+)<", answer)
        if len(texts) == 1 and len(ids) == 1:
            self.descriptions[ids[0]] = texts[0].encode()

    def describe_rules(self, answer):
        def describe(item):
            found = re.search(rb"<securityGroupRuleId>([^<]+)<", item[0])
            text = self.descriptions.get(found[1]) if found else None
            if text is None or b"<description>" in item[0]:
                return item[0]
            return item[0].replace(b"<securityGroupRuleId>", b"<description>" + text + b"</description><securityGroupRuleId>", 1)

        return re.sub(rb"<item>.*?</item>", describe, answer, flags=re.DOTALL)


def operation_of(environ, body):
    """The header's operation, or the form's Action, or ""."""
    if environ.get("HTTP_X_AMZ_TARGET"):
        return environ["HTTP_X_AMZ_TARGET"]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode()).get("Action", [""])[0]
    return ""


def with_groups(body):
    """moto does not give an instance the groups of its network interface."""
    form = {k: v[0] for k, v in parse_qs(body.decode()).items()}
    for key, group in list(form.items()):
        found = re.fullmatch(r"NetworkInterface\.1\.SecurityGroupId\.(\d+)", key)
        if found:
            form["SecurityGroupId." + found[1]] = group
    return urlencode(form).encode()


def escape_policy(answer):
    """API Gateway gives a policy as JSON in a string, with its quotes escaped
    once more; moto leaves that out."""
    api = json.loads(answer)
    policy = api.get("policy")
    if policy and not policy.startswith('{\\"'):
        api["policy"] = json.dumps(policy)[1:-1]
    return json.dumps(api).encode()


def describe_load_balancers(answer):
    """moto does not know what AWS says of rules and PrivateLink ("on" unless
    set; this stack sets it)."""
    name = b"EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic"
    if name in answer:
        return answer
    return answer.replace(b"<LoadBalancerArn>", b"<" + name + b">off</" + name + b"><LoadBalancerArn>")


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), Mended(DomainDispatcherApplication(create_backend_app)), threaded=True)
