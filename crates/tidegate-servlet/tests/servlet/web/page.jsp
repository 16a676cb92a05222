<%@ page contentType="text/plain;charset=UTF-8" %>${1 + 1} <%= request.getDispatcherType() %>
